"""Times PyTorch's matrix product for the benchmark beside it: `python3 pytorch.py THREADS`.

Reads lines. `shape LAYOUT M N K` makes the factors (B is stored transposed in Nt, A in Tn) and answers `ready`; a number answers
with the seconds that so many products took, of this thread's own time where one thread runs.
"""

import sys
import time

import torch

threads = int(sys.argv[1])
torch.set_num_threads(threads)
clock = time.thread_time if threads == 1 else time.perf_counter
print(torch.__version__, flush=True)
for line in sys.stdin:
    words = line.split()
    if words[0] == "shape":
        m, n, k = map(int, words[2:])
        a = torch.rand(k, m).t() if words[1] == "Tn" else torch.rand(m, k)
        b = torch.rand(n, k).t() if words[1] == "Nt" else torch.rand(k, n)
        c = torch.empty(m, n)
        print("ready", flush=True)
    else:
        start = clock()
        for _ in range(int(words[0])):
            torch.mm(a, b, out=c)
        print(clock() - start, flush=True)
