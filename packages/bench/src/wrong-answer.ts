/** An answer that is not the right one: the benchmark ends, and not with success. */
export class WrongAnswer extends Error {
  override readonly name = "WrongAnswer";
}
