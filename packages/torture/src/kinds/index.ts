import type { Kind } from "./kind.js";
import { kill } from "./kill.js";
import { net } from "./net.js";
import { pause } from "./pause.js";
import { deadDisk, power } from "./power.js";

export const KINDS: Readonly<Record<string, Kind>> = { kill, power, "dead-disk": deadDisk, pause, net };
