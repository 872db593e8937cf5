"""Export a network as a SavedModel: python scripts/export.py --model_dir=runs/digits --output_dir=exported"""

from rar_tf import cli

cli.define_flags()


def main():
    from rar_tf import export
    from rar_tf.errors import UsageError

    settings = cli.settings()
    if settings.output_dir is None:
        raise UsageError("give --output_dir, the directory that the SavedModel is written to")
    if settings.saved_model is not None:
        raise UsageError("--saved_model is exported already; give --model_dir or --keras_model")
    export.export_saved_model(export.load_network(settings.model_dir, settings.keras_model), settings.output_dir)


if __name__ == "__main__":
    cli.run(main)
