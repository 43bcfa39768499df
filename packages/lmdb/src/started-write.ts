/** A write that may never be settled by lmdb-js. */
export class StartedWrite {
  private isSettled = false;
  private reject: (error: Error) => void = () => undefined;

  /** Settles as `done` does, or rejects when the write failed before. */
  until(done: Promise<unknown>): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      this.reject = reject;
      done.then(
        () => {
          this.isSettled = true;
          resolve();
        },
        (error: unknown) => {
          this.isSettled = true;
          // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- the error of lmdb-js is passed on
          reject(error);
        },
      );
    });
  }

  /** Rejects the write unless it is settled. Returns whether it was not. */
  fail(error: Error): boolean {
    if (this.isSettled) return false;
    this.reject(error);
    return true;
  }
}
