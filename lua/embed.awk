# Turns lua/*.lua into a C table.  prologue.lua is put in front of every verb, behind its #! line.
BEGIN { print "/* generated from lua/ by lua/embed.awk: do not edit */\n#include \"shared/script.h\"\n" \
              "const struct script_source script_sources[] = {" }
function quote(s) { gsub(/\\/, "\\\\", s); gsub(/"/, "\\\"", s); gsub(/\t/, "\\t", s); return "\"" s "\\n\"" }
FNR == 1 {
    name = FILENAME; sub(/.*\//, "", name); sub(/\.lua$/, "", name)
    if (name == "prologue") { in_prologue = 1 }
    else { in_prologue = 0; if (n++) print "},"; printf "{\"%s\",\n", name }
}
in_prologue { next }
FNR == 1 {
    if ($0 ~ /^#!/) { print quote($0) }
    file = FILENAME; sub(/[^\/]*$/, "prologue.lua", file)
    while ((getline line < file) > 0) if (line !~ /^ *--/ && line != "") print quote(line)
    close(file)
    if ($0 ~ /^#!/) next
}
# Comments stay in the source files: the server need not store them.
/^ *--/ || /^ *$/ { next }
{ print quote($0) }
END { print "},\n{0, 0}};" }
