import { Environment, type Put } from "../environment.js";

/** Changes one value of a store that no process has open, without the store's knowledge. */
export async function damageFolder(folder: string, change: (environment: Environment) => Put): Promise<void> {
  const environment = new Environment(folder);
  await environment.write([change(environment)]);
  await environment.close();
}

/** Returns a change that flips the last bit of a stored value. */
export const lastBitFlipped =
  (key: Buffer) =>
  (environment: Environment): Put => {
    const value = Buffer.from(environment.get(key) ?? "");
    value[value.length - 1] = (value.at(-1) ?? 0) ^ 1;
    return [key, value];
  };
