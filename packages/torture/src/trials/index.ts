import { corrupt } from "./corrupt.js";
import { fuzz } from "./fuzz.js";
import { linear } from "./linear.js";
import type { Trial } from "./trial.js";

export const TRIALS: Readonly<Record<string, Trial>> = { fuzz, linear, corrupt };
