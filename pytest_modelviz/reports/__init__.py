"""Results for their readers: the terminal, HTML, programs, TensorBoard. One file a reader.

`sentences` words the findings that views share; those of one view alone are worded in its `findings.py`.
"""
