"""How the command line looks: progress, tables, JSON; a module for each of `cli`'s."""

from pipeline.console.bars import progress
from pipeline.console.building import print_report, report_facts, report_lines, states_line
from pipeline.console.judging import print_comparison, print_evaluation
from pipeline.console.output import plain, print_json, print_line, size, talk
from pipeline.console.querying import print_answers, print_failure
from pipeline.console.upkeep import print_audit, print_info

__all__ = [
    "plain",
    "print_answers",
    "print_audit",
    "print_comparison",
    "print_evaluation",
    "print_failure",
    "print_info",
    "print_json",
    "print_line",
    "print_report",
    "progress",
    "report_facts",
    "report_lines",
    "size",
    "states_line",
    "talk",
]
