"""``lafufu export``: a training run becomes a model folder."""

from pathlib import Path

from lafufu_sb.cli.output import say
from lafufu_sb.errors import UsageError


def add_parser(commands):
    """Add the sub-command to ``argparse``'s sub-parsers."""
    parser = commands.add_parser("export", help="training run to model folder")
    parser.add_argument(
        "source",
        help="output_folder of a training; for --format onnx a model folder, denoise "
        "or dereverb too",
    )
    parser.add_argument("-o", "--output", required=True, help="model folder to write")
    parser.add_argument(
        "--fp16-weights", action="store_true", help="store half-precision weights"
    )
    parser.add_argument(
        "--format",
        choices=["torch", "onnx"],
        default="torch",
        help="onnx writes graphs beside the weights, for `lafufu enhance --backend "
        "onnx` and other programs",
    )
    parser.add_argument(
        "--quantize", choices=["int8"], help="weights of the ONNX graphs (docs/onnx.md)"
    )
    parser.set_defaults(run=export_command)


def export_command(options):
    """Export, and print where the model folder is."""
    from lafufu_sb.inference.shipped import model_folder
    from lafufu_sb.training.export import export_onnx, export_run

    if options.format == "onnx":
        source = model_folder(options.source)
        export_onnx(source, options.output, options.fp16_weights, options.quantize)
    elif options.quantize:
        raise UsageError("--quantize is for --format onnx")
    else:
        export_run(options.source, options.output, options.fp16_weights)
    say(f"model folder: {Path(options.output).resolve()}")
    return 0
