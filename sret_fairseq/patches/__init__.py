"""What is mended in fairseq and torch, a file each, so that it can go when the fault does."""

from sret_fairseq.patches import (
    amp,
    copies,
    cudnn_attention,
    damaged_data,
    data_thread,
    empty_translations,
    fast_path,
    hydra_refusals,
    master_weights,
    missing_data,
    precision,
    process_group,
    reading,
    safe_globals,
)


def apply() -> None:
    """Mend this process. Call it once the architectures are registered: ``--bf16`` is mended in each of them."""
    safe_globals.allow_fairseq_globals()
    reading.guard_checkpoints()
    copies.copy_whole_files()
    precision.allow_bfloat16()
    amp.unscale_once()
    cudnn_attention.switch_off()
    fast_path.close_fast_path()
    master_weights.handle_copies_at_once()
    hydra_refusals.end_with_the_sentence()
    missing_data.check_data_first()
    damaged_data.check_sets()
    empty_translations.count_empty_translations()
    process_group.leave_at_exit()
    data_thread.stop_at_exit()
