# Turns deploy/greetings.conf into a C text, so that a binary always carries its own greetings.
BEGIN { print "/* generated from deploy/greetings.conf by greetings.awk: do not edit */\n#include \"shared/greeting.h\"\n" \
              "const char greetings_builtin[] =" }
{ gsub(/\\/, "\\\\"); gsub(/"/, "\\\""); gsub(/\t/, "\\t"); print "\"" $0 "\\n\"" }
END { print ";" }
