import { fuzz } from "./fuzz.js";
import type { Trial } from "./trial.js";

export const TRIALS: Readonly<Record<string, Trial>> = { fuzz };
