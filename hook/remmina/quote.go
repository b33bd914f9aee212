package remmina

import (
	"strings"
	"unicode/utf8"
)

// quote writes argv as the text of a command field, such that Remmina runs exactly that argv.
//
// Remmina (remmina_file_format_properties, remmina_ext_exec_new) first replaces %h, %p, %u, %g, %t, %U and %d
// wherever they stand, within quotes too, then has g_shell_parse_argv take the text apart; no shell sees it.
// There is no %% for a percent sign, so after each one the quote is closed and opened again; 50%h is
//
//	'50%''h'
//
// A *QuoteError tells of an argument that no field can hold.
func quote(argv []string) (string, error) {
	if len(argv) == 0 || argv[0] == "" {
		return "", &QuoteError{Reason: "is missing: there is no program to run"}
	}
	for _, arg := range argv {
		if !utf8.ValidString(arg) {
			return "", &QuoteError{Arg: arg, Reason: "is not UTF-8, which Remmina reads as an empty command"}
		}
		if strings.ContainsRune(arg, 0) {
			return "", &QuoteError{Arg: arg, Reason: "contains a NUL byte"}
		}
	}
	return Words(argv), nil
}

// Words writes arguments as they stand in a command field.
func Words(args []string) string {
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = quoteWord(arg)
	}
	return strings.Join(words, " ")
}

func quoteWord(arg string) string {
	if arg != "" && !strings.ContainsFunc(arg, needsQuotes) {
		return arg
	}
	return "'" + strings.NewReplacer("'", `'\''`, "%", "%''").Replace(arg) + "'"
}

func needsQuotes(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return !strings.ContainsRune("_@+=:,./-", r)
}
