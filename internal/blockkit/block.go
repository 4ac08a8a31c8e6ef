package blockkit

import "fmt"

// blocks checks an array of blocks of one surface, and that their block ids
// are unique.
func (c *checker) blocks(path string, v any, most int) {
	c.ids, c.focused = map[string]bool{}, 0
	types := []string{"header", "section", "actions", "context", "divider", "input", "image", "rich_text"}
	if c.surface == surfaceMessage {
		types = append(types, "markdown")
	}
	list(0, most, typed(blockShape, types...))(c, path, v)
	if c.focused > 1 {
		c.fault(path, "no more than 1 element may have focus_on_load")
	}
}

func blockShape(typ string) (shape, bool) {
	s, ok := bareBlockShape(typ)
	if !ok {
		return shape{}, false
	}
	s.members["block_id"] = str(0, 255)
	also := s.also
	s.also = func(c *checker, path string, o object) {
		uniqueBlockID(c, path, o)
		uniqueActionIDs(c, path, o)
		if also != nil {
			also(c, path, o)
		}
	}
	return s, true
}

func bareBlockShape(typ string) (shape, bool) {
	switch typ {
	case "header":
		return shape{required: []string{"text"}, members: members{"text": plainText(150)}}, true
	case "divider":
		return shape{members: members{}}, true
	case "markdown":
		return shape{required: []string{"text"}, members: members{"text": str(1, 12000)}}, true
	case "section":
		return sectionShape(), true
	case "actions":
		return shape{required: []string{"elements"}, members: members{"elements": list(1, 25, actionsElement())}}, true
	case "context":
		return shape{required: []string{"elements"}, members: members{"elements": list(1, 10, typed(contextShape, "image", "plain_text", "mrkdwn"))}}, true
	case "input":
		return inputShape(), true
	case "image":
		return imageBlockShape(), true
	case "rich_text":
		return shape{required: []string{"elements"}, members: members{"elements": list(1, noLimit, richText())}}, true
	}
	return shape{}, false
}

func sectionShape() shape {
	return shape{
		members: members{
			"text": text(3000), "fields": list(1, 10, text(2000)),
			"accessory": accessory(), "expand": boolean,
		},
		also: func(c *checker, path string, o object) {
			if o["text"] == nil && o["fields"] == nil {
				c.fault(path, "must define either `fields` or `text`")
			}
		},
	}
}

func inputShape() shape {
	return shape{
		required: []string{"label", "element"},
		members: members{
			"label": plainText(2000), "element": inputElement(), "hint": plainText(2000),
			"optional": boolean, "dispatch_action": boolean,
		},
	}
}

func imageBlockShape() shape {
	s := imageShape()
	s.members["title"] = plainText(2000)
	return s
}

func contextShape(typ string) (shape, bool) {
	if typ == "image" {
		return imageShape(), true
	}
	return textShape(3000)(typ)
}

func uniqueBlockID(c *checker, path string, o object) {
	id, _ := o["block_id"].(string)
	if id != "" && c.ids[id] {
		c.fault(path+"/block_id", fmt.Sprintf("must be unique, but %q is used before", id))
	}
	c.ids[id] = true
}

// uniqueActionIDs looks at the elements of one block.
func uniqueActionIDs(c *checker, path string, o object) {
	seen := map[string]bool{}
	elements, _ := o["elements"].([]any)
	for i, e := range elements {
		element, _ := e.(object)
		id, _ := element["action_id"].(string)
		if id != "" && seen[id] {
			c.fault(fmt.Sprintf("%s/elements/%d/action_id", path, i), fmt.Sprintf("must be unique within the block, but %q is used before", id))
		}
		seen[id] = true
	}
}
