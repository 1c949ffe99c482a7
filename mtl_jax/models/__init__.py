"""Networks: image [B, H, W, C] to contours and dose, one family with flags."""
