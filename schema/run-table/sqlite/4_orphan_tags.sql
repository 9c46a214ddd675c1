-- To version 4: a tag goes with the last variable that had it.
CREATE TRIGGER delete_orphan_tags_after_variable_tag_delete
AFTER DELETE ON variable_tags
BEGIN
    DELETE FROM tags
    WHERE id = OLD.tag_id AND id NOT IN (SELECT tag_id FROM variable_tags);
END;
