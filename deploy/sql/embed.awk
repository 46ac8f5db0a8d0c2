# Turns deploy/sql/NNNN_name.sql into a C table, so that a binary always carries its own schema.
BEGIN { print "/* generated from deploy/sql/ by embed.awk: do not edit */\n#include \"shared/migrate.h\"\n" \
              "const struct migration migrations[] = {" }
function quote(s) { gsub(/\\/, "\\\\", s); gsub(/"/, "\\\"", s); gsub(/\t/, "\\t", s); return "\"" s "\\n\"" }
FNR == 1 { name = FILENAME; sub(/.*\//, "", name); sub(/\.sql$/, "", name)
           if (n++) print "},"; printf "{%d, \"%s\",\n", substr(name, 1, 4) + 0, name }
{ print quote($0) }
END { print "},\n{0, 0, 0}};" }
