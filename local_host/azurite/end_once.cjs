// Loaded into the emulator before its own script. The emulator writes its data when it is first
// asked to end, and a second signal would kill it in the middle of that. Second signals do come:
// Linux tells a child of its parent's death once for each thread of the parent.
"use strict";

for (const signal of ["SIGTERM", "SIGINT"]) {
  let isEnding = false;
  process.on(signal, () => {
    if (process.listenerCount(signal) > 1) {
      isEnding = true;
    } else if (!isEnding) {
      process.exit(0); // still starting: there is nothing to write
    }
  });
}
