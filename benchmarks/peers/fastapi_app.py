"""A peer of the bench: FastAPI, SQLAlchemy and PostgreSQL with a savepoint per row and an outcome
for each. A row is checked by pydantic in a few fields only, and stored as one JSON column.

Run as `python fastapi_app.py CONNECTION`; prints its port when it answers.
"""

import datetime
import json
import socket
import sys
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import JSON, Engine, String, create_engine
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    """The tables."""


class Worker(Base):
    """A stored worker."""

    __tablename__ = "workers"
    employer: Mapped[str] = mapped_column(String(100), primary_key=True)
    reference: Mapped[str] = mapped_column(String(100), primary_key=True)
    document: Mapped[dict[str, Any]] = mapped_column(JSON)


class WorkerRow(BaseModel):
    """What is checked of a row."""

    model_config = ConfigDict(extra="allow")
    EmployerRef: str
    PersonnelRef: str
    Surname: str
    DateOfBirth: datetime.datetime
    StartDate: datetime.datetime


def app_on(engine: Engine) -> FastAPI:
    """The app with its calls."""
    app = FastAPI()

    @app.post("/workers")
    async def import_workers(request: Request) -> list[dict[str, str]]:
        rows = json.loads(await request.body())
        with Session(engine) as session:
            outcomes = [import_row(session, row) for row in rows]
            session.commit()
        return outcomes

    @app.post("/empty")
    def empty() -> None:
        Base.metadata.drop_all(engine)
        Base.metadata.create_all(engine)

    return app


def import_row(session: Session, row: dict[str, Any]) -> dict[str, str]:
    """Store a row in a savepoint of its own."""
    try:
        worker = WorkerRow.model_validate(row)
        with session.begin_nested():
            values = {"employer": worker.EmployerRef, "reference": worker.PersonnelRef}
            statement = insert(Worker).values(**values, document=row)
            session.execute(
                statement.on_conflict_do_update(
                    index_elements=list(values), set_={"document": statement.excluded.document}
                )
            )
    except ValidationError as error:
        return {"reference": str(row.get("PersonnelRef")), "status": "ERROR", "text": str(error)}
    return {"reference": worker.PersonnelRef, "status": "OK"}


if __name__ == "__main__":
    engine = create_engine(sys.argv[1])
    Base.metadata.create_all(engine)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        print(listening.getsockname()[1], flush=True)
        config = uvicorn.Config(app_on(engine), log_level="warning")
        uvicorn.Server(config).run([listening])
