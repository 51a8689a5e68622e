"""What a training container uses of its machine, sampled from inside it: the only place that sees it without rights.

`python -m pinnace.system_metrics -- COMMAND …` becomes COMMAND and leaves a small process beside it, which appends a
metric line every few seconds for as long as COMMAND lives. Nothing of it can make COMMAND fail. Only the standard
library is needed.

| key | unit |
|---|---|
| `system/cpu_cores` | cores in use, on average since the line before |
| `system/memory_bytes` | bytes in use, without page cache that can be dropped |
| `system/io_read_bytes`, `system/io_write_bytes` | bytes from and to block devices since the container's start |
| `system/gpu0_utilization` | share of the time in which the GPU was at work, 0 to 1 |
| `system/gpu0_memory_bytes` | bytes of the GPU's memory in use, by whomever |
"""
