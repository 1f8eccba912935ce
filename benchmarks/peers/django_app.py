"""A peer of the bench: django-import-export into PostgreSQL, a row of JSON with a result each.

Run as `python django_app.py CONNECTION FILE`: reads the rows of the file, imports them, and prints
the seconds from the parsed text to the last result, and how many rows are new.
"""

import json
import sys
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

import django
from django.conf import settings

address = urlsplit(sys.argv[1].replace("postgresql+psycopg", "postgresql"))
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": address.path[1:],
            "USER": address.username,
            "HOST": unquote(address.query.partition("host=")[2]),
        }
    },
    INSTALLED_APPS=["import_export"],
    IMPORT_EXPORT_USE_TRANSACTIONS=True,
    USE_TZ=True,
)
django.setup()

import tablib  # noqa: E402 (Django needs its settings first)
from django.db import connection, models  # noqa: E402
from import_export import resources  # noqa: E402


class Worker(models.Model):
    """A stored worker."""

    employer = models.CharField(max_length=100)
    reference = models.CharField(max_length=100)
    document = models.JSONField()

    class Meta:
        app_label = "peer"
        constraints = (models.UniqueConstraint("employer", "reference", name="worker_key"),)


class WorkerResource(resources.ModelResource):
    """How rows become workers."""

    class Meta:
        model = Worker
        import_id_fields = ("employer", "reference")
        fields = ("employer", "reference", "document")
        skip_diff = True


def main() -> None:
    """Import the file into an empty table."""
    with connection.schema_editor() as editor:
        if Worker._meta.db_table in connection.introspection.table_names():
            editor.delete_model(Worker)
        editor.create_model(Worker)
    text = Path(sys.argv[2]).read_text("utf-8")
    started_at = time.perf_counter()
    dataset = tablib.Dataset(headers=["employer", "reference", "document"])
    for row in json.loads(text):
        dataset.append([row["EmployerRef"], row["PersonnelRef"], json.dumps(row)])
    result = WorkerResource().import_data(dataset, raise_errors=True)
    seconds = time.perf_counter() - started_at
    print(json.dumps({"seconds": seconds, "new": result.totals["new"]}))


if __name__ == "__main__":
    main()
