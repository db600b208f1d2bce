"""The server with a route more: a ping that reads a job's row, which is the least that any retrieve has to do."""

from flask import Flask, Response, jsonify

from app import api
from app.store import jobs
from app.store.db import autocommit
from tests.bench.api import PROJECT


def create_app() -> Flask:
    """The application, for gunicorn."""
    app = api.create_app()

    @app.get("/row/<job_id>")
    def row(job_id: str) -> Response:
        with autocommit() as conn:
            jobs.get(conn, PROJECT, job_id)
        return jsonify(status="ok")

    return app
