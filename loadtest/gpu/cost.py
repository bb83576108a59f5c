"""`python -m loadtest.gpu.cost COMMAND...` runs it and prints what the kernel counted for it, as JSON.

A program's peak of memory begins at that of the one that it is forked from: here that is nearly nothing.
"""

import json
import resource
import subprocess
import sys

if __name__ == "__main__":
    code = subprocess.call(sys.argv[1:], stdout=sys.stderr)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps({"cpu_s": used.ru_utime + used.ru_stime, "peak_bytes": used.ru_maxrss * 1024}))
    sys.exit(code)
