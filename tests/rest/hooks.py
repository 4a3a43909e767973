"""What the generator does not know by itself: the media type of a piece of an upload, whose content is bytes."""

import schemathesis

schemathesis.serializer.alias("application/partial-upload", "application/octet-stream")
