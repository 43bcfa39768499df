import { Environment, type Put } from "./environment.js";

/** Changes a store's file behind its back, while nobody has it open. */
export async function hurtFolder(folder: string, change: (environment: Environment) => Put): Promise<void> {
  const environment = new Environment(folder);
  await environment.write([change(environment)]);
  await environment.close();
}

/** A value of the store with another last bit. */
export const lastBitFlipped =
  (key: Buffer) =>
  (environment: Environment): Put => {
    const value = Buffer.from(environment.get(key) ?? "");
    value[value.length - 1] = (value.at(-1) ?? 0) ^ 1;
    return [key, value];
  };
