"""The schema and the relationships that the checks are about."""

from authzed.api.v1 import DeleteRelationshipsRequest, WriteSchemaRequest

from harness import of_type, write

SCHEMA = """use expiration

/** only_on holds on tuesdays, from level four on. */
caveat only_on(day string, level int) {
  day == "tuesday" && level > 3
}

/** ranked fails where there is no score. */
caveat ranked(scores map<int>) {
  scores["high"] > 3
}

definition user {}

definition group {
  relation member: user | group#member
}

/** A document is what people read. */
definition document {
  relation owner: user
  relation viewer: user | user:* | group#member | user with only_on | user with ranked | user with expiration
  relation banned: user

  /** view is for whoever was let in. */
  permission view = (viewer + owner) - banned
  permission edit = owner
}
"""

RELATIONSHIPS = [
    "group:eng#member@user:tom",
    "group:all#member@group:eng#member",
    "document:readme#viewer@group:all#member",
    "document:readme#owner@user:ann",
    "document:readme#viewer@user:bob",
    "document:readme#banned@user:bob",
    'document:readme#viewer@user:eve[only_on:{"day":"tuesday"}]',
    "document:open#viewer@user:*",
    "document:open#banned@user:bob",
    "document:late#viewer@user:tom[expiration:2040-01-01T00:00:00Z]",
    "document:plan#owner@user:ann",
    'document:odd#viewer@user:flo[ranked:{"scores":{"low":1}}]',
]


def furnish(client):
    """Writes both over whatever is there; the token of the relationships."""
    client.WriteSchema(WriteSchemaRequest(schema=SCHEMA))
    for resource_type in ("document", "group"):
        client.DeleteRelationships(DeleteRelationshipsRequest(relationship_filter=of_type(resource_type)))
    return client.WriteRelationships(write(*RELATIONSHIPS)).written_at
