"""What the views' comparisons share. Knows numpy and plain data alone.

Two passes are walked side by side (`lockstep`), tensors compared (`tensors`, `tolerance`), a drift is explained
(`diagnosis`, `blame`, `evidence`, `ownership`), renamed layers and arguments are paired (`naming`, `arguments`), what
says nothing is left out (`ignored`, `volatile`, `devices`), and texts are held against arrays (`readable`).
"""
