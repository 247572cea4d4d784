"""Latency and throughput of Hands, measured from outside, beside a floor and beside what one would use instead.

Owns the measuring. May not be imported by what is measured. The one idea: everything that is compared runs in one
run, on one machine, in turns, against one receiver; so a noisy machine is noisy to all of them, and the ratio to
the floor says more than any number of microseconds.
"""
