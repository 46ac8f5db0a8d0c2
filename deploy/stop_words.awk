# Turns deploy/stop_words.conf into a C text, so that a binary always carries its own words.
BEGIN { print "/* generated from deploy/stop_words.conf by stop_words.awk: do not edit */\n#include \"shared/stop_words.h\"\n" \
              "const char stop_words_builtin[] =" }
{ gsub(/\\/, "\\\\"); gsub(/"/, "\\\""); gsub(/\t/, "\\t"); print "\"" $0 "\\n\"" }
END { print ";" }
