"""Stub until the certification wing lands."""

RECORDS = ()
