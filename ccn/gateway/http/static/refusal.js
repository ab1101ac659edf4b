// What was refused, and how that is told to people: in sentences, without the numbers of systems below.

export class Refusal extends Error {
  constructor(status, code, text, waitS = 0) {
    super(text);
    this.status = status;
    this.code = code;
    this.waitS = waitS;
  }
}

export class Gone extends Error {
  constructor() {
    super("No node answers. Your words are kept here; this page goes on as soon as one does.");
  }
}

export const SIGN_IN_FIRST = "Sign in first.";

const TEXTS = {
  401: SIGN_IN_FIRST,
  403: "Your account may not do that.",
  404: "That is not there any more, or it is not yours.",
  413: "That is too long to be sent.",
};

const PASSING = {
  too_many_requests: "Too many requests.",
  coordination_unavailable: "The nodes cannot find each other now. Replies go on.",
  database_full: "The database is full. Replies wait until somebody makes room.",
  database_unavailable: "The database does not answer. Replies wait until it does.",
  outcome_unknown: "The connection broke while this was being kept. Look before you repeat it.",
  overloaded: "Too much waits here already.",
  peer_unavailable: "The node that speaks here does not answer.",
  shutting_down: "This node is stopping.",
};

const CAUSES = {
  allowance_spent: "What you may spend today is spent",
  budget_spent: "What may be spent today is spent",
  model_refused: "The language model did not take it",
  model_unavailable: "The language model does not answer",
  spawn_failed: "The instance was not the character that the plate describes",
};
export const OF_THE_MODEL = ["model_unavailable", "budget_spent", "allowance_spent"]; // at every node alike
const LONGEST = 240; // of a sentence that somebody else wrote

/** A problem in words for people. */
export function refused({ code = "", detail = "", faults = [] }) {
  if (PASSING[code]) return PASSING[code];
  const why = faults[0]?.why ?? detail;
  const cut = why.length > LONGEST ? `${why.slice(0, LONGEST)}…` : why.replace(/\.$/, "");
  if (CAUSES[code]) return why ? `${CAUSES[code]}: ${cut}.` : `${CAUSES[code]}.`;
  if (!why) return code ? `Reason: ${code.replaceAll("_", " ")}.` : "That did not work.";
  return `${cut[0].toUpperCase()}${cut.slice(1)}.`;
}

/** The refusal that an answer is. */
export async function refusal(answer) {
  const problem = await answer.json().catch(() => ({}));
  const waitS = Number(answer.headers.get("Retry-After") ?? 0);
  const text = TEXTS[answer.status] ?? refused(problem);
  return new Refusal(answer.status, problem.code ?? "", text, answer.status === 429 ? Math.max(1, waitS) : waitS);
}
