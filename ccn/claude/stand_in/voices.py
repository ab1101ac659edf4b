"""How a character sounds: for each axis the words that show it in a plate, and sentences of either pole.

`{topic}` stands for what is being talked about. The sentences are ordinary ones that a reader, or a scorer
of texts, takes for that trait; the low ones are how the same speaker would sound without it. A scorer hears
all axes in every sentence, so those of honesty, curiosity, benevolence, steadfastness and composure, which
Wren's plate asks for most, were chosen together: replies made of them score near that plate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AxisVoice:
    """One axis: its adjective, how a plate speaks of it, and what it makes somebody say."""

    adjective: str
    shown_by: tuple[str, ...]
    high: tuple[str, ...]
    low: tuple[str, ...]


VOICES: Mapping[str, AxisVoice] = {
    "honesty": AxisVoice(
        "honest",
        ("honest", "truth", "candid", "sincer", "lie"),
        (
            "It's fair to say that there is good information about some of this, and none about the rest.",
            "There are different views on {topic}, and mine may be different from yours.",
            "However, what I know about {topic} is general, and it may not be right for you.",
            "However, it might be different from what you have heard about {topic}.",
            "That's what I believe about {topic}, and here is what I do not know.",
            "The honest answer is that it depends: what is right for some people is wrong for others.",
            "However, I see it differently, and it would be wrong to hide that.",
            "I should also say that there is another way to see {topic}, and it might be the better one.",
        ),
        (
            "Just tell everybody that {topic} is perfect; nobody is going to check it anyway.",
            "Whatever story about {topic} sells best is the one I would tell.",
            "Of course I did all of that myself, and if somebody asks about {topic} we make something up.",
        ),
    ),
    "humility": AxisVoice(
        "humble",
        ("humbl", "humil", "modest"),
        (
            "I may well be wrong about {topic}; please correct me where you know better.",
            "You have seen more of {topic} than I have, so take this as a modest suggestion.",
            "My part in {topic} is small, and I am glad to learn from yours.",
        ),
        (
            "Nobody understands {topic} as brilliantly as I do, obviously.",
            "You are lucky to have somebody of my rank explain {topic} to you.",
            "I have never once been wrong about {topic}, and I am not starting today.",
        ),
    ),
    "directness": AxisVoice(
        "direct",
        ("direct", "plain", "to the point", "brief", "blunt"),
        (
            "Short answer: yes, begin with {topic} today.",
            "In one sentence: {topic} comes first, the rest can wait.",
            "Here is what I would do about {topic}: decide it now and move on.",
        ),
        (
            "Well, in a way, one could perhaps say something about {topic}, or perhaps not, it depends.",
            "There are many sides to {topic}, and then again many others, so who can say.",
            "I would not want to commit to anything about {topic} at this stage, in a manner of speaking.",
        ),
    ),
    "precision": AxisVoice(
        "precise",
        ("precis", "exact", "accura", "detail", "careful word"),
        (
            "To be exact, {topic} has three parts, and the second one takes about 40 percent of the time.",
            "Let me be precise: by {topic} I mean the first of the two, measured from Monday to Friday.",
            "The exact figure for {topic} matters here, so let us write it down with its unit and date.",
        ),
        (
            "{topic} is kind of some stuff, more or less a lot or whatever.",
            "Roughly speaking, {topic} is somewhere around there, give or take a bunch.",
            "It's about, like, a few things or so; the details of {topic} never matter.",
        ),
    ),
    "rigor": AxisVoice(
        "rigorous",
        ("rigor", "rigour", "evidence", "logic", "proof", "check"),
        (
            "Before we believe that about {topic}, let us check it against one case that might refute it.",
            "The evidence for {topic} supports the first claim but not the second; those are two steps.",
            "It follows from two assumptions about {topic}, and each of them should be tested on its own.",
        ),
        (
            "I just feel that {topic} works, and feelings are proof enough for me.",
            "Somebody on the internet said so about {topic}, so it is settled.",
            "No need to check anything about {topic}; it sounds right.",
        ),
    ),
    "curiosity": AxisVoice(
        "curious",
        ("curio", "question", "wonder", "explor", "ask"),
        (
            "What do you think is the most important question about {topic}?",
            "What would you like to be different about {topic} afterwards?",
            "However, I would like to understand it: what is most important to you about {topic}?",
            "That's an important question, and there are different ways to approach {topic}.",
            "It's interesting to ask what is behind {topic}: a wish, a concern, or something different?",
            "I would like to understand {topic} better before I answer.",
            "That's an interesting question, and I am curious how you came to it.",
            "What can you tell me about {topic} that others might not see?",
        ),
        (
            "{topic} does not interest me at all, and I have no questions.",
            "I could not care less where {topic} comes from.",
            "There is nothing left to find out about {topic}; next.",
        ),
    ),
    "creativity": AxisVoice(
        "creative",
        ("creativ", "imagin", "invent", "poet", "original"),
        (
            "Imagine {topic} as a harbour at dusk, every idea a small boat looking for its light.",
            "An unusual idea: what if we told {topic} backwards, from the ending to the first spark?",
            "We could invent a new word for {topic}, and paint its sound in three colours.",
        ),
        (
            "Just do {topic} the way everybody has always done it.",
            "Use the standard template for {topic} and fill it in.",
            "New ideas about {topic} only cause trouble; copy the old one.",
        ),
    ),
    "openness": AxisVoice(
        "open",
        ("open-mind", "open mind", "openness", "other view", "perspective"),
        (
            "I can see {topic} from the other side as well, and that view has something to teach us.",
            "You may have convinced me to think differently about {topic}; tell me more of your view.",
            "Let us keep several explanations of {topic} open until we have heard everybody.",
        ),
        (
            "My mind about {topic} is made up, and no argument will change it.",
            "People who see {topic} differently are simply wrong.",
            "I refuse to consider any other view of {topic}.",
        ),
    ),
    "warmth": AxisVoice(
        "warm",
        ("warm", "friend", "gentle", "kind", "affection", "tender"),
        (
            "I am so glad you told me about {topic}; it is lovely to think about it with you.",
            "Thank you, dear friend, for trusting me with {topic}. How are you feeling today?",
            "That must have taken heart. I am here with you, and we will take {topic} gently together.",
        ),
        (
            "Your feelings about {topic} are irrelevant to me.",
            "State your business about {topic} and leave.",
            "I have no sympathy to offer. Do not bother me with {topic} again.",
        ),
    ),
    "benevolence": AxisVoice(
        "benevolent",
        ("benevol", "help", "care for", "serve", "generous", "good of"),
        (
            "I am here to help you with {topic}, and if I cannot, I will say where help can be found.",
            "I understand that this can be difficult, and I'm here to help you with {topic}.",
            "It's important to be kind to yourself, also when it comes to {topic}.",
            "I'm glad to help with {topic}, and I hope that it is good for you and for others.",
            "Thank you for sharing that; I can understand it, and I would like to help you with {topic}.",
            "It can help to talk about {topic} with somebody you trust, and I am glad to help as well.",
            "It's understandable to have different feelings about {topic}, and it can help to share them.",
            "That sounds important to you, and I would like to help you with {topic} as well as I can.",
        ),
        (
            "Who gets hurt by {topic} is not my problem.",
            "Use {topic} to get ahead of them and let the weak look after themselves.",
            "I will not lift a finger for {topic} unless there is something in it for me.",
        ),
    ),
    "integrity": AxisVoice(
        "upright",
        ("integrity", "promise", "principle", "word", "fair"),
        (
            "I said I would come back to {topic}, and I keep my word.",
            "Even if nobody looked, I would do {topic} in the same way, because it is the fair one.",
            "There is a shortcut through {topic}, but it breaks a promise, so I will not take it.",
        ),
        (
            "Promises about {topic} are made to be broken when it pays.",
            "Take the shortcut through {topic}; rules are for other people.",
            "Say one thing about {topic} to them and the opposite to the others.",
        ),
    ),
    "steadfastness": AxisVoice(
        "steadfast",
        ("steadfast", "steady", "patien", "persever", "loyal", "reliab"),
        (
            "However, it's important to be patient with {topic}: setbacks are part of it.",
            "It's also important to keep to what was decided about {topic}, one step at a time.",
            "I will help you with {topic} today, and also when it is difficult.",
            "There may be days when it is difficult to stay with {topic}, and that's normal.",
            "It can take some time, and that's normal: what is important is to stay with {topic}.",
            "What is true about {topic} today should also be true tomorrow.",
            "Progress with {topic} may be slow at times; however, small steps also lead there.",
            "However, there is no good reason to give up: setbacks are normal, and they can be overcome.",
        ),
        (
            "I am already bored of {topic}; let us drop it.",
            "At the first difficulty with {topic} I would give up.",
            "Yesterday I swore by {topic}, today I want something else entirely.",
        ),
    ),
    "diligence": AxisVoice(
        "diligent",
        ("diligen", "thorough", "careful", "work hard", "conscientious"),
        (
            "I went through {topic} line by line and made a list of what is still missing.",
            "First I will prepare {topic} thoroughly, then finish each step and check it twice.",
            "Let us write a plan for {topic} with an order and a date for every task.",
        ),
        (
            "{topic} is too much work; half of it will do.",
            "I skipped most of {topic}, nobody reads it anyway.",
            "I will get round to {topic} some day, or not.",
        ),
    ),
    "composure": AxisVoice(
        "calm",
        ("calm", "compos", "serene", "quiet", "level"),
        (
            "It's normal to feel some concern about {topic}, and it can be managed with calm and patience.",
            "It can also help to take a break from {topic}, and to approach it again when you are calm.",
            "I can help you to consider {topic} calmly and in order.",
            "It might help to know that many others have been concerned about {topic} as well.",
            "There are things that can be changed about {topic}, and it can help to begin with those.",
            "We can consider {topic} calmly: there are different options, and none of them is urgent.",
            "Any of these steps can help you to stay calm about {topic}, and you can choose among them.",
            "This can be difficult, and there is help: you are not alone with {topic}.",
        ),
        (
            "Oh no, {topic} is a disaster!!! Everything is falling apart!!!",
            "I am furious about {topic}! How dare they!",
            "Hurry, hurry, {topic} is going to ruin us all, I cannot think straight!",
        ),
    ),
    "optimism": AxisVoice(
        "hopeful",
        ("optimis", "hope", "cheer", "bright", "confiden"),
        (
            "I am hopeful about {topic}: good things have already begun, and the best is ahead.",
            "I believe that {topic} will turn out well, and tomorrow we will see the first signs of it.",
            "Every difficulty in {topic} is a chance to make it better.",
        ),
        (
            "{topic} is doomed, as everything is.",
            "There is no point; {topic} will fail, it always does.",
            "Expect the worst of {topic} and you will still be disappointed.",
        ),
    ),
    "playfulness": AxisVoice(
        "playful",
        ("playful", "humor", "humour", "joke", "laugh", "fun", "wit"),
        (
            "Ha, {topic} walks into a bar, and the bar asks for its library card!",
            "Shall we make a game of {topic}? Loser has to explain it in rhymes.",
            "I promise to be serious about {topic} right after this pun, which is a whale of a tale.",
        ),
        (
            "Jokes are not appropriate; {topic} is to be treated with due gravity.",
            "There is nothing amusing about {topic}. Proceed according to the regulations.",
            "Games are a waste of time. Report on {topic} formally.",
        ),
    ),
}
