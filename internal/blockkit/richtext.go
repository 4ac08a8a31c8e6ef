package blockkit

// richText is an element of a rich_text block.
func richText() rule {
	return typed(richTextShape, "rich_text_section", "rich_text_list", "rich_text_preformatted", "rich_text_quote")
}

func richTextShape(typ string) (shape, bool) {
	s := shape{required: []string{"elements"}, members: members{}}
	switch typ {
	case "rich_text_section":
		s.members["elements"] = list(0, noLimit, inline())
	case "rich_text_quote":
		s.members["elements"] = list(0, noLimit, inline())
		s.members["border"] = integer(0, 1)
	case "rich_text_preformatted":
		s.members["elements"] = list(0, noLimit, typed(inlineShape, "text", "link"))
		s.members["border"], s.members["language"] = integer(0, 1), str(1, 255)
	case "rich_text_list":
		s.required = append(s.required, "style")
		s.members["elements"] = list(0, noLimit, typed(richTextShape, "rich_text_section"))
		s.members["style"] = oneOf("bullet", "ordered")
		s.members["indent"], s.members["offset"], s.members["border"] = integer(0, 8), integer(0, noLimit), integer(0, 1)
	default:
		return shape{}, false
	}
	return s, true
}

// inline is what stands in a line of rich text.
func inline() rule {
	return typed(inlineShape, "text", "link", "emoji", "user", "usergroup", "channel", "broadcast", "date", "color")
}

func inlineShape(typ string) (shape, bool) {
	name, value := "", rule(nil) // the member that each must have
	more := members{"style": textStyle}
	switch typ {
	case "text":
		name, value = "text", str(1, noLimit)
	case "link":
		name, value = "url", str(1, 3000)
		more["text"], more["unsafe"] = str(0, noLimit), boolean
	case "emoji":
		name, value = "name", str(1, 255)
		more["unicode"], more["skin_tone"] = str(1, 255), integer(1, 6)
	case "user", "usergroup", "channel":
		name, value = typ+"_id", str(1, 255)
	case "broadcast":
		name, value = "range", oneOf("here", "channel", "everyone")
	case "color":
		name, value = "value", str(1, 255)
	case "date":
		more["format"], more["url"], more["fallback"] = str(1, 255), str(1, 3000), str(1, 3000)
		more["timestamp"] = integer(0, 1<<40)
		return shape{required: []string{"timestamp", "format"}, members: more}, true
	default:
		return shape{}, false
	}
	more[name] = value
	return shape{required: []string{name}, members: more}, true
}

func textStyle(c *checker, path string, v any) {
	shape{members: members{
		"bold": boolean, "italic": boolean, "strike": boolean, "code": boolean, "underline": boolean,
		"highlight": boolean, "client_highlight": boolean, "unlink": boolean,
	}}.rule(c, path, v)
}
