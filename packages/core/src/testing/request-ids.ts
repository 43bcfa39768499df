/** Returns a UUIDv7 with this time, in milliseconds since the epoch. `serial` distinguishes the ids of one time. */
export function requestIdAt(timeMs: number, serial = 0): string {
  const time = timeMs.toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-${serial.toString(16).padStart(12, "0")}`;
}
