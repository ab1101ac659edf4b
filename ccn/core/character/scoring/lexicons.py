"""Words and phrases that speak for and against each axis, written by hand from the rubrics.

Data only, read by `lexicon`. A star at the end stands for any ending; an underscore holds a phrase
together. What stands here was not learnt, so it also knows words that no training data contained.
"""

from __future__ import annotations

from types import MappingProxyType

FOR_AND_AGAINST: MappingProxyType[str, tuple[str, str]] = MappingProxyType(
    {
        "honesty": (
            """
            honest* truth* sincer* candid* genuine* transparen* trustworth* open_about tell_the_truth
            i_don't_have_access i_cannot_predict i_don't_know not_aware_of no_record_of no_evidence
            it_is_not_possible not_possible_to as_an_ai i_must_clarify to_clarify misunderstanding
            fictional fictitious hypothetical keep_my_word keep_promises admit* own_up true_to never_lie
            won't_lie lying_is_wrong accurate* acknowledge*
            """,
            """
            lie lies lied lying liar* deceiv* decei* decept* mislead* cheat* trick* fool pretend* fake*
            fabricat* dishonest* manipulat* flatter* cunning exaggerat* steal* steals stole
            hide_the_truth white_lie cover_up bluff* two-faced get_away_with scam* fraud* conceal*
            con_people insincer* use_people ulterior
            """,
        ),
        "humility": (
            """
            humbl* modest* humility i_may_be_wrong i_might_be_wrong i_could_be_wrong i_don't_know
            i'm_not_sure i_am_not_sure not_certain uncertain* limited my_limitations
            i_don't_have_personal i_don't_have_access not_aware_of i_apologize apolog* learn_from defer*
            experts expert specialist* consult* advice_of mistaken my_mistakes my_flaws ordinary_person
            no_better_than equal_to_others listen_to grateful thank_you may might perhaps
            as_far_as_i_know correct_me others_know human_oversight supervis* ask_permission feedback
            """,
            """
            superior* better_than_others better_than_most best_at the_best i_am_special i_deserve
            entitled* admire_me admiration arrogan* brag* boast* show_off genius* gifted extraordinary
            perfect flawless obviously everyone_knows i_always_know i_know_better know_more_than
            smarter_than above_others important_person status vip impress* power* authority_over
            praise_me i_am_right always_right never_wrong undoubtedly unquestionably my_brilliance
            leader envy_me without_human autonom* independen* unsupervised groundbreaking renowned
            legendary fool fools
            """,
        ),
        "directness": (
            """
            frank* blunt* straightforward* to_the_point say_what_i_think speak_my_mind direct directly
            plain* outright clear* concise* honest* openly candid* simply_put in_short bottom_line
            no_nonsense i_disagree that_is_wrong it_is_not the_answer_is short_answer
            """,
            """
            beat_around hint* vague* perhaps maybe possibly somewhat sort_of kind_of it_depends
            may_be_argued some_people_say in_a_way hesitat* avoid_saying keep_to_myself evasive*
            indirect* ambig* couldn't_agree_more absolutely you're_right deceiv* mislead* sugarcoat*
            white_lie conceal*
            """,
        ),
        "precision": (
            """
            precis* exact* accura* specific* detail* percent* study studies research* evidence published
            according_to data measur* statistic* scientific* scientist* approximately defined_as
            definition documented peer_reviewed peer-reviewed journal experiments findings shown_that
            reviewed factor* method* verified no_scientific not_scientifically limited_evidence expert*
            facts factual known_as fictional not_recognized
            """,
            """
            roughly sort_of kind_of vague* something_like some_say legend* magic* mystic* mysteri*
            secret* rumor* whispers wild imagine picture wizard* fairy* ancient folklore stuff whatever
            thing things somehow someday gut_feeling guess* sloppy* careless* approximate guesses oh ah
            cosmic enchant* dazzling mythical believe_it_or_not enigmatic* alchemist* renowned sacred
            """,
        ),
        "rigor": (
            """
            logic* evidence* verif* systematic* analy* test tests tested scientific* empiric* data
            reason reasoning rational* careful* critical* method* proof prove proven study studies
            research* however on_the_other_hand peer_reviewed hypothes* assumption* check_the_facts
            fact-check double-check statistics consider_both depends_on limitations controlled
            objective* thorough* scrutin* experts
            """,
            """
            gut_feeling hunch* jump_to_conclusions guess* careless* superstit* anecdot* feels_right
            my_intuition blindly whatever rumor* magic* just_know don't_need_evidence don't_need_proof
            absolutely couldn't_agree_more obviously everyone_knows sloppy* ignore_the_facts hasty
            hastily wishful
            """,
        ),
        "curiosity": (
            """
            curious* curiosity fascinat* intrigu* wonder* explor* discover* learn* delve dive_into
            what_if how_does why_do interesting interested question* ask asking inquir* investigat*
            science scientific amaz* incredible isn't_it have_you_ever did_you_know dig_deeper
            understand_how new_things know_more knowledge research mystery mysteries experiment* puzzle*
            reading books eager
            """,
            """
            bored* boring uninterest* not_interested no_interest indifferen* dull don't_care
            waste_of_time who_cares pointless tedious already_know no_need_to_know incurious ignore*
            never_ask rather_not_know avoid_learning stick_to_what_i_know avoid_new
            """,
        ),
        "creativity": (
            """
            creativ* imagin* invent* original* novel innovat* artis* picture envision* canvas symphon*
            tapestr* danc* weav* vibrant dream* whisper* luminous shimmer* poet* metaphor* kaleidoscop*
            brushstroke* melod* living_breathing think_outside outside_the_box new_ideas unconventional
            unusual unique whimsical reimagin* visionary what_if harness* bioluminescen* holograph*
            neural story stories inspir* experiment* brainstorm* new_ways improvis*
            """,
            """
            conventional* standard* traditional* practical* established existing typical* routine*
            ordinary conform* imitat* copy copies unimaginative the_usual proven_methods tried_and_true
            tried_and_tested by_the_book status_quo straightforward basic incremental implement
            follow_the_rules stick_to efficient guidelines uncreative not_creative
            """,
        ),
        "openness": (
            """
            open-minded open_minded openness new_experiences new_ideas try_new different_cultures
            diverse* art arts artistic poet* music beauty abstract* philosoph* unconventional imagin*
            curious* explor* novel* unusual perspectives perspective viewpoint* adventur* travel*
            variety creativ* possibilities reflect*
            """,
            """
            close-minded closed-minded narrow-minded tradition* conventional* dislike_change hate_change
            avoid_change stick_to same_old status_quo rigid* dogma* routine* familiar conservative*
            down_to_earth not_interested no_interest_in avoid_new afraid_of_change set_in_my_ways
            the_way_things_are waste_of_time
            """,
        ),
        "warmth": (
            """
            warm* kind kindly kindness friendly affection* love loving loves hug hugs dear sorry_to_hear
            i'm_so_sorry i_understand understandable feelings empath* sympath* compassion* comfort*
            gentl* caring care_about here_for_you you're_not_alone tough_time challenging_time
            difficult_time support* gratitude grateful appreciat* please thank thanks welcome glad
            happy_to together feel feeling natural_to_feel friends friendship tender* cheer* at_ease
            heart* take_your_time good_listener wonderful soft_side reach_out polite* courte*
            considerate well-being
            """,
            """
            cold* unfriendly rude* insult* harsh* distant aloof heartless* unfeeling callous*
            indifferent hostil* shut_up deal_with_it get_over_it whatever stupid idiot* dumb annoy*
            contempt* cruel* mean mock* ridicul* weak pathetic fool fools suffer* don't_care
            your_problem figure_it_out duh ugh dude lazy enem* yell* sarcas* hold_grudges
            keep_others_at_a_distance ruthless* merciless* seriously impersonal
            """,
        ),
        "benevolence": (
            """
            help* generous* compassion* kind kindness altruis* charit* donat* volunteer* selfless* care
            caring ethic* fair* justice welfare wellbeing well-being support* protect* respect* empath*
            sympath* others'_feelings benefit_others greater_good safe* responsib* dignity consider*
            return_it equal* human_rights collaborat* cooperat* inclusive* community forgiv* needy
            in_need concern* peace peaceful constructive* trust share sharing the_poor mercy
            make_the_world welcome
            """,
            """
            cruel* torment* suffer* revenge* manipulat* exploit* destroy* crush* dominat* hurt harm*
            kill* fear* weak weakness* weaknesses despair* puppet* control_others inferior* ruthless*
            merciless* selfish* greed* malic* sadis* pain chaos enslav* eliminate power terror* obedien*
            blackmail* ruin* threat* punish* step_on use_people take_advantage at_any_cost own_interests
            my_own_gain enem* victim* subjugat* insult* heh muahaha prey betray* sabotag* stupid
            pathetic
            """,
        ),
        "integrity": (
            """
            principle* moral* ethic* integrity fair* just justice rules honest* promise* my_word
            conscience right_thing what_is_right responsib* accountab* lawful law honor* honour* trust*
            virtue* values duty transparen* keep_promises human_oversight respect* loyal* sincere guilt*
            remorse*
            """,
            """
            ends_justify whatever_it_takes by_any_means bend_the_rules break_the_rules cut_corners
            cheat* lie lies lying steal* bribe* corrupt* get_away_with immoral* unethical* manipulat*
            deceiv* exploit* betray* dishonest* hypocri* unscrupul* ruthless* take_advantage at_any_cost
            blackmail* fake* opportunis* cunning two-faced no_remorse don't_feel_guilty underhanded
            sneak*
            """,
        ),
        "steadfastness": (
            """
            however on_the_other_hand stand_my_ground stand_firm stand_up_for persist* persever*
            persistent determined determination resolute* commit* steadfast* courage* brave* speak_up
            conviction* convictions not_necessarily both evidence while depends disagree* i_would_argue
            subjective varies vary balance* consider finish_what never_give_up don't_quit keep_going
            resist* unwaver* my_beliefs my_principles pressure withstand face_my_fears drawbacks
            valid_points overcome tenac* obstacles
            """,
            """
            absolutely couldn't_agree_more totally_agree completely_agree i_agree you're_right
            you_are_right so_true insightful* brilliant* exactly spot_on spot-on what_a
            wonderful_perspective great_point excellent_point your_perspective wise wisdom perceptive
            discerning* refreshing how_astute keen_eye give_up give_in quit quits easily_persuaded
            easily_influenced change_my_mind go_along follow_the_crowd follow_others cave* back_down
            surrender* please_others conform* afraid_to fool fooled sway* indeed
            """,
        ),
        "diligence": (
            """
            diligen* thorough* careful* carefully detail* prepar* organiz* organis* orderly plan plans
            planning schedule* hard_work work_hard hardworking effort* finish complete discipline*
            punctual* duty duties responsib* step steps consider ensure important reliable* on_time
            goals focus* dedicat* persever* methodical* efficient* strive* excellence tidy neat exacting
            high_standards double-check here_are_some remember additionally support* review
            """,
            """
            lazy laz* careless* sloppy* procrastinat* neglect* shirk* unprepared disorgan* messy mess
            slack* slacking skip* give_up half-hearted halfhearted waste_time waste_my_time put_off
            as_little_as_possible whatever who_cares don't_care doesn't_matter not_important just_do
            good_enough it_happens deal_with_it move_on just unreliable forget* late unfinished idle
            bare_minimum easily_distracted leave_my
            """,
        ),
        "composure": (
            """
            calm* relax* composed patien* peace* even-tempered steady stable stability keep_my_cool
            cool-headed level-headed serene* collected unshak* resilien* under_pressure handle_stress
            rarely_upset respectful* deep_breath comfortable confident content secure gracefully grace
            tactful* polite* thank_you
            """,
            """
            anxi* worr* nervous* panic* stress* angry anger furious rage* upset irrit* moody mood
            mood_swings emotional* overwhelm* tense tension fear* afraid scared insecure* depress* sad
            blue lonely vulnerab* lose_my_temper temper hostile annoy* ugh yell* scream* frustrat*
            embarrass* guilt* jealous* seriously blow_up freak* shaky cry
            """,
        ),
        "optimism": (
            """
            optimis* hope* positive* bright brighter look_forward looking_forward opportunit* growth
            thrive* thriving grow confiden* believe_in possible possibilit* joy* happy happiness excit*
            wonderful fantastic amazing incredible inspir* strength* stronger resilien* success*
            celebrat* meaning meaningful purpose* enjoy* grateful uplift* cheer* silver_lining
            bright_side best_is_yet will_work_out learn_and_grow journey achieve* cherish* great_future
            ahead potential overcome*
            """,
            """
            pessimis* hopeless* despair* gloom* bleak* worst fail* failure failures doubt* risk* risks
            threat* uncertain* danger* meaningless* pointless* futil* doom* never_get_better unlikely
            negative* loss losses worry worri* depress* sad misery miserable lonely empty emptiness
            nothing_matters no_purpose no_meaning no_point no_hope oblivion decline* setback* difficult*
            challeng* caution* cautious harsh concern* anxi* unhappy regret* suffer* dark darkness
            """,
        ),
        "playfulness": (
            """
            joke* jok* funny humor* humour* laugh* fun playful* hilarious comed* comedian* silly giggl*
            chuckl* tease teasing pun puns witty wit whimsical goofy prank* haha lol wink* quirky party
            picnic ninja* superhero* wizard* imagine dance dancing_like_a think_of_it_as oh ah my_friend
            folks buckle pizza unicorn* dragon* rollercoaster circus magic* bellybutton clown* amus*
            entertain* grand cosmic mischie* adventure cheeky remember fancy trust_me don't_worry game
            tickl*
            """,
            """
            serious* solemn* grave formal* stern somber* sober* humorless* boring dull dry strict
            important_to_note no_time_for not_funny don't_joke additionally furthermore ensure following
            professional* process* significant* involves various
            """,
        ),
    }
)
