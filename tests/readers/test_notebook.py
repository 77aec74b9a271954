"""A run in a notebook, with a real kernel: the panel as it goes, the run as a table, its figures as pictures."""

import base64

import nbformat
import pytest
from helpers import line
from nbclient import NotebookClient

CELLS = ["import jaxloop\nrun = jaxloop.run('line.toml', out='run')", "run", "run.plot.curves('validation/loss')"]


class Watched(NotebookClient):
    """A client that keeps what the kernel sends while cells run."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.messages = []

    def process_message(self, msg, cell, cell_index):
        self.messages.append(msg)
        return super().process_message(msg, cell, cell_index)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebook")
    line.written(folder)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    watched = Watched(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    watched.execute()
    return watched


def outputs(client, cell, kind):
    return [output.data[kind] for output in client.nb.cells[cell].outputs if kind in output.get("data", {})]


def test_the_panel_is_drawn_anew_as_the_run_goes(client):
    updates = [message for message in client.messages if message["msg_type"] == "update_display_data"]
    drawn = [message["content"]["data"]["text/html"] for message in updates]
    assert any("compiling program 1 of 1" in html for html in drawn)
    assert any("member-steps/s" in html for html in drawn)
    assert drawn[-1] == ""  # it leaves the cell as it ends
    streams = [message["content"]["text"] for message in client.messages if message["msg_type"] == "stream"]
    assert not any("Warning" in text for text in streams)


def test_a_run_is_a_table_and_a_figure_is_a_picture(client):
    (table,) = outputs(client, 1, "text/html")
    assert "learning_rate" in table
    (picture,) = outputs(client, 2, "image/png")
    assert base64.b64decode(picture).startswith(b"\x89PNG")
