package main

import (
	"fmt"
	"regexp"
	"strings"

	"pairfs/replica"
)

// controlWords are options of commands to control files that the command line writes otherwise. What stands in brackets stands behind the flag.
var controlWords = regexp.MustCompile(`(^|[ "])(mode=(swap|force)|mode=purge|discard=(here|there)?|svol-write=(enable|disable)|copy=(full|none))`)

// inFlags says what a site says in the words of the command line: "--swap" where a control file takes mode=swap. Most of what may be given
// looks the same but for its dashes.
func inFlags(sentence string) string {
	return controlWords.ReplaceAllStringFunc(sentence, func(word string) string {
		m := controlWords.FindStringSubmatch(word)
		if m[3] != "" {
			return m[1] + "--" + m[3]
		}
		return m[1] + "--" + m[2]
	})
}

// flagHint is what helps where the command line was not understood: options of groups, pairs and the site are words without dashes.
func flagHint(args []string) string {
	for _, arg := range args {
		name, value, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		for _, scope := range []string{"group", "pair", "site"} {
			for _, option := range replica.OptionNames(scope) {
				if known, _, _ := strings.Cut(option, "="); known == name && strings.HasPrefix(arg, "--") {
					if value == "" {
						value = "VALUE"
					}
					return fmt.Sprintf("%s is an option of a %s, written without dashes: %s=%s", name, scope, name, value)
				}
			}
		}
	}
	return "--help after any command shows what it takes"
}
