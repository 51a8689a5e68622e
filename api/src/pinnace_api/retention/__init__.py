"""Retention: policies that people set, the plan that follows from them, and carrying it out beside the server or in it.

A plan is made of facts by one pure function (plan.py), an experiment at a time. What is carried out is looked at once
more in its own transaction, because a plan is old when it is ready.
"""
