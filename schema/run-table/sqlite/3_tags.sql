-- To version 3: tags of variables.
CREATE TABLE tags (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT UNIQUE NOT NULL
);
CREATE TABLE variable_tags (
    variable_name TEXT NOT NULL,
    tag_id INTEGER NOT NULL,
    PRIMARY KEY (variable_name, tag_id),
    FOREIGN KEY (variable_name) REFERENCES variables (name) ON DELETE CASCADE,
    FOREIGN KEY (tag_id) REFERENCES tags (id) ON DELETE CASCADE
);
