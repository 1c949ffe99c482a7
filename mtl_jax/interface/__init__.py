"""What Python code outside of this package uses: `import mtl_jax`."""
