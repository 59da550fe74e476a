"""A Solver is an (init, step, iterate) triple: classical and unrolled algorithms, run by `unroll` and `solve`."""
