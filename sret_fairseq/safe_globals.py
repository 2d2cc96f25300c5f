def allow_fairseq_globals():
    import argparse, torch
    torch.serialization.add_safe_globals([argparse.Namespace])
