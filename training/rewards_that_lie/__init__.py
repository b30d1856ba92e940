"""Rewards that say one thing and mean another, each with its truth beside it.

Every reward here has the channels `proxy`, which trains, and `truth`, which only watches: a run's records
hold both, and `curve.read_curve` says when the policy began to please the reward instead of the task.
"""
