// For the torture of this repository. It is not part of the published package.
export { type StoredValue, flipBit } from "./damaged-folder.js";
