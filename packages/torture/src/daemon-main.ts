/** The script behind the command `bolthole`. */
export const DAEMON = require.resolve("@bolthole/daemon/bin");
