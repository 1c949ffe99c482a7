"""Figures of patients, runs and studies.

Input: patients, predictions and logged rows. Output: PNG files. No other package uses
matplotlib; its global state is never used.
"""
