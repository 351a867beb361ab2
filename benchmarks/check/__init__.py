"""Does `goodfit check` name the fault, find its place, and stay quiet about healthy programs?"""
