-- Small texts by name, such as what operators have said about rules; their form is that of who wrote them.
CREATE TABLE notes (
    name TEXT PRIMARY KEY NOT NULL,
    text TEXT NOT NULL
) STRICT;
