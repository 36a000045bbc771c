"""What the tap costs, beside a plain Singer tap and the vendor's client: `python -m benchmarks [name ...] [--quick]`.

Every figure that is judged is a ratio or a rate of one run on one machine, with the emulator as the API in another
process on loopback. Nothing here is a test: a missed target is printed, and only a run that fails ends with an error.
"""
