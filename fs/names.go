package fs

import "pairfs/replica"

// checkName refuses what is no name for a new object of the given sort ("volume", "pair", "group", "peer"): a name is 1 to 100 bytes of
// letters, digits, '.', '_' and '-', and does not begin with '.'.
func checkName(sort, name string) error {
	bad := name == "" || len(name) > maxName || name[0] == '.'
	for i := 0; i < len(name) && !bad; i++ {
		c := name[i]
		bad = (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-'
	}
	if bad {
		return invalid("%q is no name for a %s; use 1 to %d letters, digits, '.', '_' or '-', not beginning with '.'", name, sort, maxName)
	}
	return nil
}

// kindError is a refusal made by this package; it is spelled like those of the site.
func kindError(k replica.Kind, msg string) error { return &replica.Error{Kind: k, Msg: msg} }
