import { MessageChannel } from "node:worker_threads";

/** Gives a buffer's memory back to the system at once; the buffer is empty from here on. */
export function releaseMemory(memory: ArrayBuffer): void {
  const { port1, port2 } = new MessageChannel();
  port2.close();
  // What is handed over to nobody is freed.
  port1.postMessage(undefined, [memory]);
  port1.close();
}
