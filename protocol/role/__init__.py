"""What every role's process is made of: sight, memory, answers, and the loop that joins them.

observe (sight.py) -> decide (the role's own pure function) -> act (service.py)
"""
