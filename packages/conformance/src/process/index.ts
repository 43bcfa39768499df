export { DaemonProcess, type DaemonProcessOptions, type Ending } from "./daemon-process.js";
